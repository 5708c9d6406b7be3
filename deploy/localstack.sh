#!/bin/sh
# What the service `deploy` of localstack-compose.yml does, in /work, with the repository in /source.
set -eu
rm -rf app.py chalicelib .chalice deploy
cp -R /source/app.py /source/chalicelib /source/.chalice /source/deploy /source/requirements.txt \
    /source/requirements-dev.txt .
[ -x .venv/bin/python ] || python -m venv .venv
echo "Installing the packages of requirements-dev.txt (the first time takes a minute) ..."
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
# The functions run in containers of this machine's architecture.
.venv/bin/python -m deploy.package --architecture native
exec .venv/bin/python -m deploy.deploy --stage local --target localstack --shown-at "$SHOWN_AT" \
    --build build --parameters "RedisUrl=redis://valkey:6379"
