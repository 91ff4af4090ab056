"""How pages are served: HTTP connections from aiohttp to the threads of a WSGI application."""
