"""The command `attachments`. It sets up signal handling before all other imports: see `prepare`."""

from deploy.serving import prepare


def main() -> None:
    """Run the command line of this process.

    `deploy.cli` is imported here, after `prepare`: the import takes half a second, and a signal may
    arrive meanwhile.
    """
    prepare()
    from deploy.cli import main as run

    run()


if __name__ == "__main__":
    main()
