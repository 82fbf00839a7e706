"""HTTP as registries and their helpers speak it: bounded, strict, and careful with secrets.

==========================  ==============================================================================
`exchange`                  one exchange with one server; the only door to `urllib3`
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
`link`, `warnings`          the Link header; the Warning header
`settings`                  trust, proxies and patience, as values
==========================  ==============================================================================

Below `registry`, which knows what is asked for; here is only how. Nothing is imported here: each user names the module
it needs.
"""
