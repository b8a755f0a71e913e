// What every foreign client is asked to do, and how it reports: one line of JSON on stdout.
//
// usage: node CLIENT.mjs URL [COUNT]   e.g. node urql.mjs http://127.0.0.1:4000/graphql 3

export const QUERY = `query Instruments($limit: Int!) {
  instruments(order_by: {symbol: asc}, limit: $limit) { id symbol name __typename }
}`;
export const LIVE_QUERY = `subscription Positions($symbols: [String!]!) {
  positions(where: {symbol: {_in: $symbols}}, order_by: {symbol: asc}) {
    instrument_id symbol quantity last_price profit __typename
  }
}`;
export const CHANGES = `subscription Trades {
  trades_changes {
    phase complete cursor
    changes { operation row { id symbol side price quantity executed_at } }
  }
}`;
export const VARIABLES = {query: {limit: 5}, live: {symbols: ["ALDR", "BRCK", "CNDL", "DLTA", "EMBR"]}, changes: {}};

const TIMEOUT_MS = 40_000;

// run(httpUrl, wsUrl) gives {query, subscribe, close}: query(document, variables) → Promise of data,
// subscribe(document, variables, onData, onError) → function that ends it.
export async function report(connect) {
  const [url, count = "3"] = process.argv.slice(2);
  const timer = setTimeout(() => fail(new Error(`no result within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
  try {
    const client = connect(url, url.replace(/^http/, "ws"));
    const query = await client.query(QUERY, VARIABLES.query);
    const live = await first(client, LIVE_QUERY, VARIABLES.live, (got) => got.length >= Number(count));
    const isLive = (data) => data.trades_changes.phase === "live" && data.trades_changes.changes.length > 0;
    const changes = await first(
      client, CHANGES, VARIABLES.changes, (got) => got.filter(isLive).length >= Number(count),
    );
    await client.close();
    clearTimeout(timer);
    process.stdout.write(`${JSON.stringify({query, live, changes})}\n`);
  } catch (error) {
    fail(error);
  }
}

function first(client, document, variables, enough) {
  return new Promise((resolve, reject) => {
    const got = [];
    let done = false;
    let end = () => {};
    const onData = (data) => {
      if (done) return;
      got.push(data);
      if (!enough(got)) return;
      done = true;
      queueMicrotask(() => {
        end();
        resolve(got);
      });
    };
    end = client.subscribe(document, variables, onData, reject);
  });
}

function fail(error) {
  process.stderr.write(`${error?.stack ?? JSON.stringify(error)}\n`);
  process.exit(1);
}
