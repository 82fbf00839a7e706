"""A client of registries (distribution-spec v1.1.1), from one request up to the verbs of one repository.

==========================  ==============================================================================
`client`                    one registry: scheme, credentials, redirects, retries and errors in one call
`settings`                  all that a client is told from outside
`registries_conf`           mirrors, rewritten names, blocked registries
`endpoint`                  one place to find a repository
`connect`                   a reference → the repositories that may have it
`login`                     credentials checked, then stored; and taken away
`repository`                the verbs of one repository: pull, list, delete
`manifests`                 what an answer says a manifest is: its type, its digest
`download`, `ahead`         a blob over as many connections as it takes; the next ones, asked for early
`management`                one more tag, a tag less, no image
`foreign`                   layers at the addresses that their descriptors give
`listing`, `referrers`      tags and repositories; what refers to a manifest
`pages`                     lists in pages, by the Link header
`upload`                    a blob pushed in whatever way the registry takes
`sessions`, `sending`       an upload as the registry sees it; a blob's bytes on their way, verified
`mounts`                    a blob of another repository of the same registry
`put_manifest`              manifests, with what a `subject` asks for
`send_manifest`             one PUT of a manifest's bytes
`referrers_tag`             the list of referrers that clients keep themselves
==========================  ==============================================================================

Nothing is imported here: each user names the module it needs, so that looking at a layout never loads a network stack.
"""
