"""POSTs stdin to URL with Python's standard library, as an application would."""
import json
import sys
import urllib.error
import urllib.request

url, headers = sys.argv[1], json.loads(sys.argv[2])
request = urllib.request.Request(url, sys.stdin.buffer.read(), headers)
try:
    with urllib.request.urlopen(request) as reply:
        print(reply.status, json.dumps(json.load(reply)), sep="\n")
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode(), sep="\n")
