"""Check whether a Python interpreter can run the service. Print its version, or the fault.

    PYTHON check_python.py [.venv]

Give the argument `.venv` if PYTHON belongs to a virtual environment. Such a Python needs the module
pip, and others need venv and ensurepip. The Makefile runs this file with any Python that it finds,
so the syntax must also be valid for old versions.
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
        except Exception:  # the import of a broken module may raise any exception
            fault = fault or "lacks the module " + module

if fault:
    sys.exit("Python " + version + " (" + (sys.executable or "?") + ") " + fault)
sys.stdout.write(version + "\n")
