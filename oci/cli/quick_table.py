"""Options and arguments of the commands, for quick.py. Made by `make docs`; never edited by hand."""

from __future__ import annotations

__all__ = ["COMMANDS"]

_Row = tuple[str, str, dict[str, tuple[str, str]], tuple[tuple[str, str], ...], bool]

# command → (module, function, {option: (parameter, kind)}, ((argument, kind), …), may options follow arguments)
# ruff: noqa: E501
# fmt: off
COMMANDS: dict[str, _Row] = {
    'init': ('layouts', 'init', {}, (('layout', 'one'),), True),
    'ls': ('layouts', 'ls', {'--all': ('all_images', 'on'), '-a': ('all_images', 'on'), '--quiet': ('only_ids', 'on'), '-q': ('only_ids', 'on'), '--json': ('json', 'on')}, (('place', 'maybe'),), True),
    'inspect': ('show', 'inspect', {'--manifest': ('manifest', 'on'), '--config': ('config', 'on'), '--index': ('index', 'on'), '--raw': ('raw', 'on'), '--platform': ('platform', 'one'), '--json': ('json', 'on')}, (('reference', 'one'),), True),
    'history': ('show', 'history', {'--platform': ('platform', 'one'), '--json': ('json', 'on')}, (('reference', 'one'),), True),
    'files': ('files', 'files', {'--layer': ('layer', 'number'), '--long': ('long', 'on'), '-l': ('long', 'on'), '--platform': ('platform', 'one'), '--json': ('json', 'on')}, (('reference', 'one'),), True),
    'tag': ('layouts', 'tag', {}, (('reference', 'one'), ('newtag', 'one')), True),
    'untag': ('layouts', 'untag', {}, (('reference', 'one'),), True),
    'gc': ('layouts', 'gc', {'--dry-run': ('dry_run', 'on'), '--json': ('json', 'on')}, (('layout', 'one'),), True),
    'copy': ('copying', 'copy', {'--platform': ('platform', 'one'), '--all-platforms': ('all_platforms', 'on'), '--all': ('all_platforms', 'on'), '--compression': ('compression', 'one'), '--with-referrers': ('with_referrers', 'on'), '--from-file': ('from_file', 'one'), '--fail-fast': ('fail_fast', 'on'), '--keep-going': ('fail_fast', 'off'), '--json': ('json', 'on')}, (('source', 'maybe'), ('destination', 'maybe')), True),
    'pull': ('pulling', 'pull', {'--tag': ('tag', 'one'), '-t': ('tag', 'one'), '--platform': ('platform', 'one'), '--all-platforms': ('all_platforms', 'on'), '--all': ('all_platforms', 'on'), '--policy': ('policy', 'one'), '--json': ('json', 'on')}, (('reference', 'one'),), True),
    'push': ('pulling', 'push', {'--platform': ('platform', 'one'), '--compression': ('compression', 'one'), '--json': ('json', 'on')}, (('name', 'one'), ('destination', 'maybe')), True),
    'rmi': ('pulling', 'rmi', {'--force': ('force', 'on'), '-f': ('force', 'on'), '--json': ('json', 'on')}, (('names', 'some'),), True),
    'verify': ('checking', 'verify', {'--platform': ('platform', 'one'), '--all-platforms': ('all_platforms', 'on'), '--all': ('all_platforms', 'on'), '--fast': ('fast', 'on'), '--json': ('json', 'on'), '--format': ('format_', 'one')}, (('reference', 'one'),), True),
    'append': ('append', 'append', {'--tag': ('tag', 'needed'), '-t': ('tag', 'needed'), '--owner': ('owner', 'one'), '--mode': ('mode', 'one'), '--mtime': ('mtime', 'one'), '--exclude': ('exclude', 'many'), '--compression': ('compression', 'one'), '--created-by': ('created_by', 'one'), '--comment': ('comment', 'one'), '--created': ('created', 'one'), '--platform': ('platform', 'one'), '--json': ('json', 'on')}, (('reference', 'one'), ('source', 'some')), True),
    'config': ('configure', 'config', {'--tag': ('tag', 'needed'), '-t': ('tag', 'needed'), '--env': ('env', 'many'), '-e': ('env', 'many'), '--entrypoint': ('entrypoint', 'one'), '--cmd': ('cmd', 'one'), '--user': ('user', 'one'), '--workdir': ('workdir', 'one'), '--label': ('label', 'many'), '--annotation': ('annotation', 'many'), '--port': ('port', 'many'), '--volume': ('volume', 'many'), '--stop-signal': ('stop_signal', 'one'), '--stop-timeout': ('stop_timeout', 'number'), '--healthcheck': ('healthcheck', 'one'), '--healthcheck-interval': ('healthcheck_interval', 'one'), '--healthcheck-timeout': ('healthcheck_timeout', 'one'), '--healthcheck-start-period': ('healthcheck_start_period', 'one'), '--healthcheck-start-interval': ('healthcheck_start_interval', 'one'), '--healthcheck-retries': ('healthcheck_retries', 'number'), '--shell': ('shell', 'one'), '--onbuild': ('onbuild', 'many'), '--hostname': ('hostname', 'one'), '--author': ('author', 'one'), '--created': ('created', 'one'), '--platform': ('platform', 'one'), '--clear': ('clear', 'many'), '--created-by': ('created_by', 'one'), '--comment': ('comment', 'one'), '--json': ('json', 'on')}, (('reference', 'one'),), True),
    'unpack': ('unpacking', 'unpack', {'--rootless': ('rootless', 'on'), '--map-root': ('map_root', 'on'), '--force': ('force', 'on'), '--platform': ('platform', 'one'), '--json': ('json', 'on')}, (('reference', 'one'), ('dest', 'one')), True),
    'tags': ('remote', 'tags', {'--json': ('json', 'on')}, (('repository', 'one'),), True),
    'referrers': ('referrers', 'referrers', {'--artifact-type': ('artifact_type', 'one'), '--platform': ('platform', 'one'), '--json': ('json', 'on')}, (('reference', 'one'),), True),
    'delete': ('remote', 'delete', {'--json': ('json', 'on')}, (('reference', 'one'),), True),
    'login': ('logins', 'login', {'--username': ('username', 'one'), '-u': ('username', 'one'), '--password-stdin': ('password_stdin', 'on'), '--password': ('password', 'one'), '-p': ('password', 'one'), '--get-login': ('get_login', 'on')}, (('registry', 'one'),), True),
    'logout': ('logins', 'logout', {'--all': ('all_', 'on'), '-a': ('all_', 'on'), '--authfile': ('authfile', 'one')}, (('registry', 'maybe'),), True),
    'serve': ('serving', 'serve', {'--listen': ('listen', 'one'), '--repository': ('repository', 'one'), '--read-only': ('read_only', 'on'), '--htpasswd': ('htpasswd', 'one'), '--tls-cert': ('tls_cert', 'one'), '--tls-key': ('tls_key', 'one')}, (('layout', 'one'),), True),
    'artifact push': ('artifacts', 'push', {'--artifact-type': ('artifact_type', 'one'), '--config': ('config', 'one'), '--annotation': ('annotation', 'many'), '--annotation-file': ('annotation_file', 'one'), '--created': ('created', 'one'), '--json': ('json', 'on')}, (('reference', 'one'), ('files', 'many')), True),
    'artifact pull': ('artifacts', 'pull', {'--output': ('directory', 'one'), '-o': ('directory', 'one'), '--include': ('include', 'many'), '--force': ('force', 'on'), '--unpack': ('unpacking', 'one'), '--platform': ('platform', 'one'), '--json': ('json', 'on')}, (('reference', 'one'),), True),
    'artifact inspect': ('artifacts', 'inspect', {'--platform': ('platform', 'one'), '--json': ('json', 'on')}, (('reference', 'one'),), True),
    'attach': ('referrers', 'attach', {'--type': ('artifact_type', 'one'), '--artifact-type': ('artifact_type', 'one'), '--platform': ('platform', 'one'), '--config': ('config', 'one'), '--annotation': ('annotation', 'many'), '--annotation-file': ('annotation_file', 'one'), '--created': ('created', 'one'), '--json': ('json', 'on')}, (('reference', 'one'), ('files', 'many')), True),
}
# fmt: on
