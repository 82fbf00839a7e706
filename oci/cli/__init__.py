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
    reports     findings of `verify` as text, JSON, SARIF, JUnit, GitHub annotations
    layouts  show  copying  checking  building  unpacking      the commands
"""
