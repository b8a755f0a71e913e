// GraphiQL against the server that sent this page: queries by POST, subscriptions by graphql-transport-ws.
import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './page.css';
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { createClient } from 'graphql-ws';
import { GraphiQL } from 'graphiql';

const url = new URL('/graphql', location.href);
const socket = new URL(url);
socket.protocol = url.protocol.replace('http', 'ws');
// A socket greets with the headers of the editor, as a POST has them: other headers are another socket.
const fetchers = new Map();
function fetcher(parameters, options) {
  const headers = options?.headers ?? {};
  const key = JSON.stringify(headers);
  if (!fetchers.has(key)) {
    const wsClient = createClient({
      url: socket.href,
      lazy: true,
      connectionParams: { headers },
      // refused credentials are shown at once, not tried again
      shouldRetry: (problem) => problem instanceof CloseEvent && problem.code !== 4403,
    });
    fetchers.set(key, createGraphiQLFetcher({ url: url.href, wsClient }));
  }
  return fetchers.get(key)(parameters, options);
}
const FALLBACK = '# Queries, live queries and change feeds: the schema is on the left.\n';

const examples = await fetch('/graphiql-examples.json')
  .then((response) => (response.ok ? response.json() : []))
  .catch(() => []);
createRoot(document.getElementById('root')).render(
  createElement(GraphiQL, {
    fetcher,
    defaultQuery: examples[0] ?? FALLBACK,
    defaultTabs: examples.length ? examples.map((query) => ({ query })) : undefined,
  }),
);
