-- The demo's market in a Materialize: two tables that the seeder writes, and a view that Materialize keeps.
-- Each statement runs by itself and may run again: what exists is left as it is.

CREATE TABLE IF NOT EXISTS instruments (
  id int NOT NULL,
  symbol text NOT NULL,
  name text NOT NULL,
  tick numeric NOT NULL,
  base numeric NOT NULL
);

CREATE TABLE IF NOT EXISTS trades (
  id bigint NOT NULL,
  instrument_id int NOT NULL,
  symbol text NOT NULL,
  side text NOT NULL,
  price numeric NOT NULL,
  quantity int NOT NULL,
  executed_at timestamptz NOT NULL
);

-- What the trades that are kept add up to: one row per instrument that traded.
CREATE MATERIALIZED VIEW IF NOT EXISTS positions AS
SELECT
  t.instrument_id,
  t.symbol,
  t.trades,
  t.quantity,
  l.price AS last_price,
  t.cash + t.quantity * l.price AS profit,
  l.executed_at AS updated_at
FROM (
  SELECT
    instrument_id,
    symbol,
    count(*) AS trades,
    sum(CASE side WHEN 'buy' THEN quantity ELSE -quantity END) AS quantity,
    sum(CASE side WHEN 'buy' THEN -quantity ELSE quantity END * price) AS cash
  FROM trades
  GROUP BY instrument_id, symbol
) AS t
JOIN (
  SELECT DISTINCT ON (instrument_id) instrument_id, price, executed_at
  FROM trades
  ORDER BY instrument_id, id DESC
) AS l ON l.instrument_id = t.instrument_id;
