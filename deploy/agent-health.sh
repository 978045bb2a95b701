#!/bin/sh
# The agent container's health: the agent answers, and is neither CRITICAL nor
# UNKNOWN. A WARNING (an offline service, an open conflict) waits for a person
# and is no reason to restart a container.
database=${PTDOC_AGENT_DEVICE_DATABASE:-/data/app.db}
device-agent status --check --database "$database"
[ $? -lt 2 ]
