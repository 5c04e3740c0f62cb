"""Tell whether a Python can run the service: prints its version, else says in a line why not.

    PYTHON check_python.py [.venv]

With `.venv` it is the Python of an environment, which needs pip and no tools to make another one.
The Makefile runs it with whatever Python there is, so it is written as all of them read it.
"""

import sys

fault = ""
version = ".".join(map(str, sys.version_info[:3]))
needed = ["ssl", "ctypes", "zlib"] + (["pip"] if sys.argv[1:] else ["venv", "ensurepip"])

if sys.version_info[:2] < (3, 11):  # noqa: UP036 - whatever Python there is runs this
    fault = "is too old: 3.11 or newer is needed"
elif sys.implementation.name != "cpython":
    fault = "is not CPython, for which alone there are packages"
elif sys.maxsize < 2**32:
    fault = "has 32 bits, for which there are no packages"
else:
    import sysconfig

    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        fault = "is free-threaded, for which there are no packages"
    for module in needed:
        try:
            __import__(module)
        except Exception:  # in whatever way it is missing or broken
            fault = fault or "lacks the module " + module

if fault:
    sys.exit("Python " + version + " (" + (sys.executable or "?") + ") " + fault)
sys.stdout.write(version + "\n")
