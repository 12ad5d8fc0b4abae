"""The harness app of a simulated phone: am and pm as scripts that hand out the real agent's answers."""

import json
from pathlib import Path

from simulated_phone import SimulatedPhone

APP = "dev.pocketvec.harness"
RESULTS = f"/sdcard/Android/media/{APP}/results"
PM = """#!/system/bin/sh
cd /data/local/tmp
for last; do :; done
case "$1" in
install) echo install >> calls; cp "$last" base.apk; echo Success ;;
path) [ -f base.apk ] && echo package:/data/local/tmp/base.apk ;;
esac
"""
AM = f"""#!/system/bin/sh
cd /data/local/tmp
[ "$1" = instrument ] || exit 0
job=$5/$8
id=${{8##*/}}
id=${{id%.json}}
state=none
for one in build warm; do if grep -q "\\"$one\\"" "$job"; then state=$one; fi; done
echo "instrument $state" >> calls
if [ -f says ]; then cat says; exit 0; fi
mkdir -p {RESULTS}/$id
cp canned/$state/vectors.f32 {RESULTS}/$id/
sed "s/@JOB@/$id/" canned/$state/result.json > {RESULTS}/$id/result.json
echo "INSTRUMENTATION_STATUS: class={APP}.BenchInstrumentation"
echo "INSTRUMENTATION_STATUS_CODE: 1"
echo "INSTRUMENTATION_RESULT: result={RESULTS}/$id/result.json"
echo "INSTRUMENTATION_CODE: -1"
"""
APP_PROGRAMS = {"pm": PM, "am": AM}


def lay_out_answers(phone: SimulatedPhone, folder: Path) -> None:
    """Lay an answer of the agent's in the phone as the app would give it: a result for each cache state."""
    canned = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    raw = (folder / "vectors.f32").read_bytes()
    for state, cost in canned["costs"].items():
        result = canned | {"job": "@JOB@", "client": "app", "costs": {state: cost}}
        if state == "build":
            result["rows"] = len(result["golden_ids_equal"])
        place = phone.place(f"/data/local/tmp/canned/{state}")
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps(result))
        (place / "vectors.f32").write_bytes(raw[: result["rows"] * result["dim"] * 4])
