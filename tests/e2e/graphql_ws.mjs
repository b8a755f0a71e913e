// The reference client of graphql-transport-ws; the query goes over the socket too.
import {createClient} from "graphql-ws";
import WebSocket from "ws";
import {report} from "./operations.mjs";

await report((_, url) => {
  const client = createClient({url, webSocketImpl: WebSocket});
  const unwrap = (onData, onError) => ({
    next: ({data, errors}) => (errors ? onError(errors) : onData(data)),
    error: onError,
    complete: () => {},
  });
  return {
    query: (query, variables) =>
      new Promise((resolve, reject) => client.subscribe({query, variables}, unwrap(resolve, reject))),
    subscribe: (query, variables, onData, onError) =>
      client.subscribe({query, variables}, unwrap(onData, onError)),
    close: () => client.dispose(),
  };
});
