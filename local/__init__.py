"""The whole service on one machine: real Redis and S3 servers, the API, and what Lambda does for events.

Nothing here is shipped. `python -m local` starts four processes:

    local.servers   valkey-server, and moto's S3 and SQS over HTTP (left out where others are named)
    local.api       app.py behind a stand-in for API Gateway (local.gateway, on waitress)
    local.worker    hands S3's notifications to app.make_thumbnail, as Lambda does
    local           watches over the three, and restarts the last two when the code changes

`python -m local.owners alice` makes a token for trials with owners.
"""
