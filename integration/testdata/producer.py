"""A producer that knows nothing of outboxd but its intent contract: business data and intents in one transaction.

    producer.py URI DATABASE

prints one line of JSON: the _ids (as text) of the intents of the committed transaction and of the aborted one.
"""

import datetime
import json
import sys
import uuid

import bson
import pymongo


class Abort(Exception):
    """Ends the transaction without a commit."""


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def intents(name):
    """Intents as different programs would write them: every kind of _id, and none of the optional fields or many."""
    return [
        # The four fields that are required; the driver gives the _id.
        {"kind": "sms", "status": "pending", "due_at": now(),
         "payload": {"to": "+4915100000001" if name == "kept" else "+4915100000002", "from": "+15550100", "body": "Your code is 4711"}},
        {"_id": uuid.uuid4(), "v": 1, "kind": "email", "status": "pending", "due_at": now(), "priority": 0,
         "expires_at": now() + datetime.timedelta(hours=1), "max_attempts": 5, "on_ambiguous": "reconcile",
         "payload": {"from": {"email": "shop@example.com", "name": "The Shop"}, "to": name + "@example.org",
                     "subject": "Grüße", "html": "<p>Thank you</p>", "categories": ["orders"]},
         "metadata": {"order": name}, "created_at": now()},
        # A double without fraction, as a program in JavaScript would write it, and everything that may follow.
        {"_id": name + ":charge", "kind": "charge", "status": "pending", "due_at": now(), "dedup_key": "charge-" + name,
         "payload": {"amount": 1999.0, "currency": "eur", "customer": "cus_" + name, "payment_method": "pm_card_visa",
                     "metadata": {"order": name}},
         "on_done": [{"kind": "email", "payload": {"from": "shop@example.com", "to": name + "@example.org", "subject": "Receipt",
                                                   "text": "Charged ${payload.amount} ${payload.currency}, ${result.id}, for ${_id}"}}],
         "write_back": {"collection": "orders", "id": name, "done": {"state": "paid", "charge": "${result.id}"}, "dead": {"state": "failed"}}},
    ]


def order(database, session, name):
    database.orders.insert_one({"_id": name, "state": "new"}, session=session)
    return [database.outbox.insert_one(intent, session=session).inserted_id for intent in intents(name)]


def main(uri, name):
    client = pymongo.MongoClient(uri, uuidRepresentation="standard")
    database = client.get_database(name)
    database.create_collection("orders")
    with client.start_session() as session:
        kept = session.with_transaction(
            lambda s: order(database, s, "kept"),
            write_concern=pymongo.WriteConcern("majority", j=True),
        )
        lost = []
        try:
            with session.start_transaction():
                lost = order(database, session, "lost")
                raise Abort
        except Abort:
            pass

    # What the contract forbids is refused, with the reason.
    try:
        database.outbox.insert_one({"kind": "sms", "status": "pending", "due_at": now(), "on_ambigous": "park",
                                    "payload": {"to": "0151", "from": "+15550100", "body": "x"}})
        refused = None
    except pymongo.errors.WriteError as error:
        refused = {"code": error.code, "reason": json.dumps(error.details, default=bson.json_util.default)}
    client.close()
    print(json.dumps({"kept": [str(i) for i in kept], "lost": [str(i) for i in lost], "refused": refused}))


if __name__ == "__main__":
    main(*sys.argv[1:])
