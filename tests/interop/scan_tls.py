"""Scans a listener on this machine with PyPI `sslyze` and prints what it offers, as JSON with sorted members.

    scan_tls.py PORT

Members: the versions with their cipher suites, the groups, and each attack or weakness sslyze knows with what it found.
It says nothing that differs from run to run, so its output is compared with tls-offer.json as it stands.
"""

import json
import sys

from sslyze import (
    ScanCommand,
    ScanCommandAttemptStatusEnum,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
    ServerScanStatusEnum,
)

VERSIONS = ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3"]
COMMANDS = set(ScanCommand) - {ScanCommand.CERTIFICATE_INFO, ScanCommand.HTTP_HEADERS}


def scan(port):
    """The results of every command; the end of the program if one of them could not run."""
    location = ServerNetworkLocation("localhost", port=port, ip_address="127.0.0.1")
    config = ServerNetworkConfiguration(
        "localhost", network_timeout=10, network_max_retries=3
    )
    scanner = Scanner(per_server_concurrent_connections_limit=2)
    scanner.queue_scans([ServerScanRequest(location, config, scan_commands=COMMANDS)])
    [result] = scanner.get_results()
    if result.scan_status != ServerScanStatusEnum.COMPLETED:
        sys.exit(f"not scanned: {result.connectivity_error_trace}")
    results = {}
    for command in sorted(COMMANDS):
        attempt = getattr(result.scan_result, command.value)
        if attempt.status != ScanCommandAttemptStatusEnum.COMPLETED:
            sys.exit(f"{command.value}: {attempt.error_reason} {attempt.error_trace}")
        results[command.value] = attempt.result
    return results


def offer(results):
    """What is compared: words, booleans and sorted lists."""
    suites = {
        version: sorted(
            accepted.cipher_suite.name
            for accepted in results[f"{version}_cipher_suites"].accepted_cipher_suites
        )
        for version in VERSIONS
    }
    resumption = results["session_resumption"]
    renegotiation = results["session_renegotiation"]
    return {
        "suites": suites,
        "groups": sorted(curve.name for curve in results["elliptic_curves"].supported_curves or []),
        "compression": results["tls_compression"].supports_compression,
        "early_data": results["tls_1_3_early_data"].supports_early_data,
        "extended_master_secret": results["tls_extended_master_secret"].supports_ems_extension,
        "fallback_scsv": results["tls_fallback_scsv"].supports_fallback_scsv,
        "session_id_resumption": resumption.session_id_resumption_result.name,
        "ticket_resumption": resumption.tls_ticket_resumption_result.name,
        "insecure_renegotiation": not renegotiation.supports_secure_renegotiation,
        "client_renegotiation": renegotiation.is_vulnerable_to_client_renegotiation_dos,
        "ccs_injection": results["openssl_ccs_injection"].is_vulnerable_to_ccs_injection,
        "heartbleed": results["heartbleed"].is_vulnerable_to_heartbleed,
        "robot": results["robot"].robot_result.name,
    }


def main():
    """One port in, one JSON document out."""
    print(json.dumps(offer(scan(int(sys.argv[1]))), indent=2, sort_keys=True))


if __name__ == "__main__":
    main()
