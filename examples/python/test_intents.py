"""A unit test of a producer: `outboxd validate --serve` checks its documents, without a database."""
import json
import os
import subprocess
import unittest
import urllib.request

from bson import json_util
from intents import received_text


class Intents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        command = [os.environ.get("OUTBOXD", "outboxd"), "validate", "--serve", "127.0.0.1:0"]
        cls.validator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        cls.url = cls.validator.stdout.readline().strip()  # the first line is the address

    @classmethod
    def tearDownClass(cls):
        cls.validator.communicate(cls.validator.terminate())

    def reasons(self, intent):
        with urllib.request.urlopen(self.url, data=json_util.dumps(intent).encode()) as answer:
            return [reason for document in json.load(answer)["documents"] for reason in document["reasons"]]

    def test_the_text_about_a_received_order_is_a_valid_intent(self):
        self.assertEqual(self.reasons(received_text("order-1", "+4915112345678")), [])

    def test_a_telephone_number_as_people_write_it_is_refused(self):
        self.assertEqual(self.reasons(received_text("order-1", "0151 12345678"))[0]["path"], "payload.to")
