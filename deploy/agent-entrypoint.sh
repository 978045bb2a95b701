#!/bin/sh
# Starts an agent beside a sample clinic database. The first start makes the
# database and installs capture; neither needs the service.
set -eu
database=${PTDOC_AGENT_DEVICE_DATABASE:-/data/app.db}
if [ ! -e "$database" ]; then
  # Under another name until it is whole: a start that was cut short begins anew.
  rm -f "$database".new*
  sqlite3 "$database.new" < /usr/share/ptdoc/clinic.sql >/dev/null
  if [ "${SAMPLE_PATIENTS:-0}" -gt 0 ]; then
    python3 /usr/share/ptdoc/clinic_data.py --patients "$SAMPLE_PATIENTS" | sqlite3 "$database.new"
  fi
  mv "$database.new" "$database"
fi
# init writes agent.toml last; with it there, everything before it was done.
if [ ! -e "$(dirname "$database")/agent.toml" ]; then
  device-agent init --database "$database" \
    --table Patient --table ClinicalNote --table IntakeForm \
    --service "$PTDOC_AGENT_SERVICE_ADDRESS" --token-file "$PTDOC_AGENT_SERVICE_TOKEN_FILE"
fi
exec device-agent serve --database "$database"
