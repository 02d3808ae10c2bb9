// All pages. Each is loaded when it is first opened.
import { createBrowserRouter, type RouteObject } from 'react-router';
import { Shell } from './layout/Shell';
import { Lost } from './pages/Lost';

const page = (path: string, load: () => Promise<{ Page: React.ComponentType }>): RouteObject => ({
  path,
  lazy: async () => ({ Component: (await load()).Page }),
});

export const router = createBrowserRouter([
  {
    element: <Shell />,
    errorElement: <Lost failed />,
    hydrateFallbackElement: <span />,
    children: [
      page('/', () => import('./pages/overview')),
      page('/mailboxes', () => import('./pages/mailboxes')),
      page('/mailboxes/:id', () => import('./pages/mailboxes/one')),
      page('/activity', () => import('./pages/activity')),
      page('/settings', () => import('./pages/settings')),
      page('/administrators', () => import('./pages/administrators')),
      page('/account', () => import('./pages/account')),
      page('/tokens', () => import('./pages/tokens')),
      page('/documentation', () => import('./pages/documentation')),
      { path: '*', element: <Lost /> },
    ],
  },
]);
