// urql with its stock exchanges: fetch for queries, graphql-ws for subscriptions.
import {Client, cacheExchange, fetchExchange, subscriptionExchange} from "@urql/core";
import {createClient} from "graphql-ws";
import WebSocket from "ws";
import {report} from "./operations.mjs";

await report((httpUrl, wsUrl) => {
  const socket = createClient({url: wsUrl, webSocketImpl: WebSocket});
  const client = new Client({
    url: httpUrl,
    exchanges: [
      cacheExchange,
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: (request) => ({
          subscribe: (sink) => ({
            unsubscribe: socket.subscribe({...request, query: request.query ?? ""}, sink),
          }),
        }),
      }),
    ],
  });
  return {
    async query(query, variables) {
      const {data, error} = await client.query(query, variables).toPromise();
      if (error) throw error;
      return data;
    },
    subscribe(query, variables, onData, onError) {
      const {unsubscribe} = client
        .subscription(query, variables)
        .subscribe(({data, error}) => (error ? onError(error) : onData(data)));
      return unsubscribe;
    },
    close: () => socket.dispose(),
  };
});
