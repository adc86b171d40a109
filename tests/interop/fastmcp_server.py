"""A server on FastMCP with three tools of Session-Buddy's names: PORT, then `json` and `stateless` as wanted, and `tls=FOLDER`: there lie the
server's certificate and key, and the authority of which every client must show a certificate."""

import ssl
import sys

from fastmcp import FastMCP

mcp = FastMCP("buddy", version="1.2.3")


@mcp.tool
def get_activity_summary() -> dict:
    return {"active_sessions": 3, "total_sessions": 7}


@mcp.tool
def get_liveness() -> str:
    return '{"uptime_seconds": 5}'


@mcp.tool
def get_workflow_metrics() -> dict:
    raise RuntimeError("kaput")


tls = {}
for folder in [word.removeprefix("tls=") for word in sys.argv if word.startswith("tls=")]:
    tls = {
        "ssl_certfile": f"{folder}/server.crt",
        "ssl_keyfile": f"{folder}/server.key",
        "ssl_ca_certs": f"{folder}/ours.pem",
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
    }

mcp.run(
    transport="http",
    host="127.0.0.1",
    port=int(sys.argv[1]),
    path="/mcp",
    show_banner=False,
    uvicorn_config=tls,
    json_response="json" in sys.argv,
    stateless_http="stateless" in sys.argv,
)
