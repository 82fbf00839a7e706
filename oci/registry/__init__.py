"""A client of registries (distribution-spec v1.1.1), from the socket up to the verbs of one repository.

==========================  ==============================================================================
`http`                      one exchange with one server; the only door to `urllib3`
`answer`                    reading an answer from a socket: bounded, and never without progress
`dial`                      connecting to a name, by all its addresses
`outgoing`                  headers and bodies that are sent
`failures`                  why a connection failed, in words
`urls`                      URLs, strictly: what is not plain http(s) is not followed
`tls`                       whom to trust, and who we are: system store, certs.d, client certificates
`proxies`                   which proxy a host is reached through
`retry`                     which failures may be tried again, and when
`redirects`                 where a registry may send us
`responses`                 a registry's error answers as our errors
`client`                    one registry: scheme, credentials, redirects, retries and errors in one call
`scope`, `challenge`        what a token is for; how a registry asks for one
`auth`, `token`             which header a registry gets; one token from a token service
`credentials`               where user names and passwords come from: `credential_files`, `credential_helpers`
`login`, `json_edit`        credentials checked, kept and forgotten; a file changed in one place only
`settings`                  all that a client is told from outside
`registries_conf`           mirrors, rewritten names, blocked registries
`endpoint`                  one place to find a repository
`connect`                   a reference → the repositories that may have it
`repository`                the verbs of one repository: pull, list, delete
`manifests`                 what an answer says a manifest is: its type, its digest
`download`, `ahead`         a blob over as many connections as it takes; the next ones, asked for early
`management`                one more tag, a tag less, no image
`foreign`                   layers at the addresses that their descriptors give
`listing`, `referrers`      tags and repositories; what refers to a manifest
`pages`, `link`             lists in pages, by the Link header
`upload`                    the verbs that push: blobs, and those of the modules below
`sessions`, `sending`       an upload as the registry sees it; a blob's bytes on their way, verified
`mounts`                    a blob of another repository of the same registry
`put_manifest`              manifests, with what a `subject` asks for
`send_manifest`             one PUT of a manifest's bytes
`referrers_tag`             the list of referrers that clients keep themselves
==========================  ==============================================================================

Nothing is imported here: each user names the module it needs, so that looking at a layout never loads a network stack.
"""
