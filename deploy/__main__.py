"""The command `attachments`. Signals are prepared before all other imports, see `prepare`."""

from deploy.serving import prepare


def main() -> None:
    """Run the command line of this process."""
    prepare()
    from deploy.cli import main as run

    run()


if __name__ == "__main__":
    main()
