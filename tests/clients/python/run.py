"""A plain producer (`produce`) or a member of a group (`consume`) with the Python library that `--library` names.

`--settings default` changes nothing of the library but what a program must say; `off` asks for all acknowledgements and
switches retries and idempotence off.
"""
import importlib
import sys

import bed

MODULES = {"kafka-python": "with_kafka_python", "confluent-kafka": "with_confluent", "aiokafka": "with_aiokafka"}


def main():
    o = bed.options(sys.argv[2:])
    bed.watch_stdin()
    library = importlib.import_module(MODULES[o["library"]])
    {"produce": library.producer, "consume": library.consumer}[sys.argv[1]](o)


main()
