"""Who we are to a registry: credentials, challenges and tokens.

==========================  ==============================================================================
`credential`                a user name with a password or a token; where such things can be looked up
`scope`, `challenge`        what a token is for; how a registry asks for one
`authorizer`, `token`       what to send with a request; how a token is had
`credentials`               files and helpers in the order of podman and docker
`credential_files`          auth.json and config.json
`credential_helpers`        docker-credential-NAME programs
`json_edit`                 one key of a JSON file changed, the rest as it was
==========================  ==============================================================================

Nothing is imported here: each user names the module it needs.
"""
