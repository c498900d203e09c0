"""Validates the server metadata with Authlib. Standard input: the document of RFC 8414. Prints what is invalid."""
import json
import sys

from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

AuthorizationServerMetadata(json.load(sys.stdin)).validate()
