// Apollo Client as its own documentation sets it up: HTTP for queries, graphql-ws for subscriptions.
import {ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql} from "@apollo/client";
import {GraphQLWsLink} from "@apollo/client/link/subscriptions";
import {OperationTypeNode} from "graphql";
import {createClient} from "graphql-ws";
import WebSocket from "ws";
import {report} from "./operations.mjs";

await report((httpUrl, wsUrl) => {
  const socket = createClient({url: wsUrl, webSocketImpl: WebSocket});
  const client = new ApolloClient({
    cache: new InMemoryCache(),
    link: ApolloLink.split(
      ({operationType}) => operationType === OperationTypeNode.SUBSCRIPTION,
      new GraphQLWsLink(socket),
      new HttpLink({uri: httpUrl}),
    ),
  });
  return {
    query: async (query, variables) => (await client.query({query: gql(query), variables})).data,
    subscribe(query, variables, onData, onError) {
      const subscription = client.subscribe({query: gql(query), variables}).subscribe({
        next: ({data, error}) => (error ? onError(error) : onData(data)),
        error: onError,
      });
      return () => subscription.unsubscribe();
    },
    async close() {
      client.stop();
      await socket.dispose();
    },
  };
});
