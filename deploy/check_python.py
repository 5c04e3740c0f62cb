"""Check whether a Python can run the service: print its version, or exit with the reason.

    PYTHON check_python.py [.venv]

With `.venv`, PYTHON is the Python of a virtual environment, which needs pip, but not venv or
ensurepip. The Makefile runs this file with any Python that it finds, so the syntax must also be
valid for old versions.
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
        except Exception:  # a broken module may raise any exception
            fault = fault or "lacks the module " + module

if fault:
    sys.exit("Python " + version + " (" + (sys.executable or "?") + ") " + fault)
sys.stdout.write(version + "\n")
