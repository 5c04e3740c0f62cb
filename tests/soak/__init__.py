"""The soak: thousands of uploads while everything is killed, frozen and lied to; `make soak`."""
