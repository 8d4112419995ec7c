// What the application inserts, apart from how: so that a unit test can check it.
export const receivedText = (order, phone) => ({
  kind: "sms", status: "pending", due_at: new Date(), dedup_key: `received:${order}`,
  payload: { to: phone, from: "+15005550006", body: "Your order is in." },
});
