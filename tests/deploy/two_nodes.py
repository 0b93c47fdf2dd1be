"""`python -m tests.deploy.two_nodes FOLDER`: a Ray cluster of two nodes on this machine.

It prints its address and the process of the second node. A line on standard input kills the second node
without a warning, the next one starts another; each is answered by a line. The end of the input ends it all.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.ports import free_port

STORE = 80 << 20  # bytes of shared memory; Ray's least is 75 MiB
PATIENCE = {
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_gcs_server_request_timeout_seconds": "300",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "300",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_health_check_timeout_ms": "60000",
}


def node_arguments(session: str, folder: Path) -> dict[str, object]:
    """A small node that need not wait for its agents: Ray gives them 15 s, however busy the machine is."""
    from ray import NodeID
    from ray._raylet import DASHBOARD_AGENT_LISTEN_PORT_NAME, persist_port

    names = (
        "metrics_agent_port",
        "metrics_export_port",
        "dashboard_agent_listen_port",
        "runtime_env_agent_port",
    )
    ports = {name: free_port() for name in names}
    node = NodeID.from_random().hex()
    place = folder / session
    place.mkdir(parents=True, exist_ok=True)
    persist_port(str(place), node, DASHBOARD_AGENT_LISTEN_PORT_NAME, ports["dashboard_agent_listen_port"])
    return {
        "num_cpus": 1,
        "object_store_memory": STORE,
        "include_log_monitor": False,
        "env_vars": {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": node},
        **ports,
    }


if __name__ == "__main__":
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0"} | PATIENCE
    from ray.cluster_utils import Cluster

    folder, session = Path(sys.argv[1]), "session_of_test"
    head = {"include_dashboard": False, "no_monitor": True, "temp_dir": str(folder), "session_name": session}
    cluster = Cluster(initialize_head=True, head_node_args=node_arguments(session, folder) | head)
    node = None
    while True:
        if node is None:
            node = cluster.add_node(**node_arguments(session, folder))
            print(cluster.address, node.all_processes["raylet"][0].process.pid, flush=True)
        else:
            cluster.remove_node(node, allow_graceful=False)
            node = None
            print("gone", flush=True)
        if not sys.stdin.readline():
            break
    cluster.shutdown()
