"""POSTs stdin to URL with requests; a third argument makes it come back that often after a 503."""
import json
import sys

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

url, headers = sys.argv[1], json.loads(sys.argv[2])
with requests.Session() as session:
    if len(sys.argv) > 3:
        retry = Retry(int(sys.argv[3]), status_forcelist=[503], allowed_methods=None)
        session.mount(url, HTTPAdapter(max_retries=retry))
    reply = session.post(url, data=sys.stdin.buffer.read(), headers=headers)
    print(reply.status_code, json.dumps(reply.json() if reply.ok else reply.text), sep="\n")
