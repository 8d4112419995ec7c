"""What the application inserts, apart from how: so that a unit test can check it."""
from datetime import datetime, timezone


def received_text(order, phone):
    return {"kind": "sms", "status": "pending", "due_at": datetime.now(timezone.utc), "dedup_key": "received:" + order,
            "payload": {"to": phone, "from": "+15005550006", "body": "Your order is in."}}
