"""HTTP APIs of services: endpoint tables, tokens with scopes, descriptions, ranges, uploads.

A service declares a table of `Endpoint`s and a class with a handler for each; `routes.routes_of`
makes the routes, with the access check before a request's body is read and errors as sentences.
aiohttp is imported by the modules that serve, not by those that only describe.
"""
