/** A credit purchase whose compact JSON is exactly 190 bytes: the payload of every side. */
export const payload = {
  user_id: 'user-000481',
  purchase_id: 'cp_01HX3Q7M9V',
  amount: 249,
  currency: 'EUR',
  method: 'card',
  reference: '7f3c9a2e5b8d4016',
  campaign: 'spring-sale-2026',
  source: 'web-shop-main-eu',
};

/** The same payload as the bytes that go over the wire. */
export const payloadBytes: Uint8Array = new TextEncoder().encode(JSON.stringify(payload));

if (payloadBytes.length !== 190) throw new Error(`the payload must be 190 bytes of JSON, it is ${payloadBytes.length}`);
