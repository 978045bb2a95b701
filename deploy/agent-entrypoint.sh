#!/bin/sh
# Starts an agent beside a sample clinic database; makes the database first.
set -eu
database=${PTDOC_AGENT_DEVICE_DATABASE:-/data/app.db}
if [ ! -e "$database" ]; then
  sqlite3 "$database" < /usr/share/ptdoc/clinic.sql >/dev/null
  if [ "${SAMPLE_PATIENTS:-0}" -gt 0 ]; then
    python3 /usr/share/ptdoc/clinic_data.py --patients "$SAMPLE_PATIENTS" | sqlite3 "$database"
  fi
fi
device-agent init --database "$database" \
  --table Patient --table ClinicalNote --table IntakeForm \
  --service "$PTDOC_AGENT_SERVICE_ADDRESS" --token-file "$PTDOC_AGENT_SERVICE_TOKEN_FILE"
exec device-agent serve --database "$database"
