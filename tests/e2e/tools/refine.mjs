// refine's Hasura data provider and its live provider, as its documentation sets them up.
import dataProvider, {GraphQLClient, graphqlWS, liveProvider} from "@refinedev/hasura";
import WebSocket from "ws";

import {report} from "./report.mjs";

const meta = {fields: ["id", "symbol", "name"]};

await report(async (url) => {
  const data = dataProvider(new GraphQLClient(url), {idType: "Int"});
  const list = (options) => data.getList({resource: "instruments", meta, ...options});
  const first = await list({
    pagination: {currentPage: 1, pageSize: 3, mode: "server"},
    sorters: [{field: "symbol", order: "asc"}],
  });
  const second = await list({
    pagination: {currentPage: 2, pageSize: 3, mode: "server"},
    sorters: [{field: "symbol", order: "asc"}, {field: "id", order: "desc"}],
  });
  const filtered = await list({
    filters: [
      {field: "symbol", operator: "startswith", value: "A"},
      {operator: "or", value: [{field: "id", operator: "gte", value: 0}, {field: "name", operator: "null", value: true}]},
    ],
    sorters: [{field: "symbol", order: "desc"}],
    pagination: {mode: "off"},
  });
  const nested = await data.getList({
    resource: "trades",
    filters: [{field: "instrument.symbol", operator: "eq", value: first.data[0].symbol}],
    sorters: [{field: "instrument.symbol", order: "asc"}, {field: "id", order: "desc"}],
    pagination: {currentPage: 1, pageSize: 2, mode: "server"},
    meta: {fields: ["id", {instrument: ["symbol"]}]},
  });
  const ids = first.data.map((row) => row.id);
  const one = await data.getOne({resource: "instruments", id: ids[1], meta});
  const many = await data.getMany({resource: "instruments", ids, meta});
  return {first, second, filtered, nested, one, many, live: await live(url)};
});

// Two pushes of a list that changes all the time.
async function live(url) {
  const client = graphqlWS.createClient({url: url.replace(/^http/, "ws"), webSocketImpl: WebSocket});
  const provider = liveProvider(client, {idType: "Int"});
  const got = [];
  await new Promise((resolve) => {
    const end = provider.subscribe({
      channel: "resources/positions",
      types: ["*"],
      params: {
        resource: "positions",
        subscriptionType: "useList",
        meta: {fields: ["symbol", "quantity"]},
        sorters: [{field: "symbol", order: "asc"}],
        pagination: {currentPage: 1, pageSize: 2, mode: "server"},
      },
      callback: (rows) => {
        got.push(rows);
        if (got.length < 2) return;
        provider.unsubscribe(end);
        resolve();
      },
    });
  });
  await client.dispose();
  return got;
}
