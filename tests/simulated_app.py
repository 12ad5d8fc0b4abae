"""The harness app of a simulated phone: am and pm as scripts that hand out the real agent's answers."""

import json
import tarfile
from pathlib import Path

from simulated_phone import SimulatedPhone

APP = "dev.pocketvec.harness"
RESULTS = f"/sdcard/Android/media/{APP}/results"
PM = """#!/system/bin/sh
cd /data/local/tmp
case "$1" in
install) echo install >> calls; touch installed; echo Success ;;
path) [ -f installed ] && echo package:/data/app/base.apk ;;
esac
"""
AM = f"""#!/system/bin/sh
cd /data/local/tmp
[ "$1" = instrument ] || exit 0
job=$5/$8
id=${{8##*/}}
id=${{id%.json}}
state=build
if grep -q '"warm"' "$job"; then state=warm; fi
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


def lay_out_answers(phone: SimulatedPhone, payload: Path, name: str) -> None:
    """Lay a profile's answers in the phone as the app would give them: a result for each cache state."""
    with tarfile.open(payload) as archive:
        text, raw = (
            file.read()
            for member in ("result.json", "vectors.f32")
            if (file := archive.extractfile(f"canned/{name}/{member}")) is not None
        )
    for state in ("build", "warm"):
        result = json.loads(text)
        result |= {"client": "app", "costs": {state: result["costs"][state]}}
        if state == "build":
            result["rows"] = len(result["golden_ids_equal"])
        folder = phone.place(f"/data/local/tmp/canned/{state}")
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "vectors.f32").write_bytes(raw[: result["rows"] * result["dim"] * 4])
