"""Containers: their life, what they wrote, and what is made of it. `container` is the value that all of it is about.

==============================  ==========================================================================
`create`, `lifecycle`           made; started, stopped, killed, waited for, removed
`execute`, `attach`, `logs`     one more process in it; a client of it; what it has said
`status`                        what state it is really in
`launch`, `supervisor`          its own small process: begun, and what it does (`pump`, `clients`, `stdio`,
                                `log_writer`, `network`); `frames`: how one talks to it
`mounting`, `view`, `inside`    its tree mounted; for a moment; paths in it that never lead out
`writable`, `commit`            what it wrote, listed, and as an image; `export`, `copying`: its files
`bundle`                        the same for a bare runtime
==============================  ==========================================================================
"""
