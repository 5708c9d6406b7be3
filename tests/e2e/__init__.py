"""One suite for every place where the service runs; all it needs is a URL.

pytest tests/e2e                                   `python -m local`, which it starts
pytest tests/e2e --target ministack                the packaged stack on MiniStack, which it starts
pytest tests/e2e --base-url URL                    whatever answers there
pytest tests/e2e --base-url URL --bucket NAME      and a bucket to look into, with the SDK's credentials
... --s3-endpoint URL                              of an emulator
"""
