"""The command line: reads arguments, files and environment, calls the library, prints (level 9).

::

    entry       what the console script calls: signals, `--version`, exit status
    app         the root: a table of all commands, of which only the one asked for is imported
    failures    any exception → exit status and one line
    session     what a command is given: streams, environment, --quiet, SOURCE_DATE_EPOCH
    options     the options that several commands share
    output      tables, JSON, sizes; printable whatever an image holds
    progress    bars on a terminal for what takes longer than a second
    bars        how such lines look, at any width
    sources     a reference → an image or layout
    storing     the local store: where it is, as whom and with which driver it is opened

The commands are in modules that the table in `app` names: of images layouts, show, copying, checking, building and
unpacking; of registries remote, logins, referrers and artifacts; of the store pulling, storing_commands and volumes; of
containers running, stopping, containers, writable and bundling.
"""
