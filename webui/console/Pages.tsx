// All pages. Each is loaded when it is first opened.
import { type ComponentType, lazy } from 'react';
import { BrowserRouter, Route, Routes } from 'react-router';
import { Shell } from './layout/Shell';
import { Lost } from './pages/Lost';

const page = (load: () => Promise<{ Page: ComponentType }>) => lazy(async () => ({ default: (await load()).Page }));

const PAGES = {
  '/': page(() => import('./pages/overview')),
  '/mailboxes': page(() => import('./pages/mailboxes')),
  '/mailboxes/:id': page(() => import('./pages/mailboxes/one')),
  '/activity': page(() => import('./pages/activity')),
  '/settings': page(() => import('./pages/settings')),
  '/certificate': page(() => import('./pages/certificate')),
  '/proxy': page(() => import('./pages/proxy')),
  '/doctor': page(() => import('./pages/doctor')),
  '/administrators': page(() => import('./pages/administrators')),
  '/account': page(() => import('./pages/account')),
  '/tokens': page(() => import('./pages/tokens')),
  '/documentation': page(() => import('./pages/documentation')),
};

export function Pages() {
  return (
    <BrowserRouter>
      <Routes>
        <Route element={<Shell />}>
          {Object.entries(PAGES).map(([path, Page]) => (
            <Route key={path} path={path} element={<Page />} />
          ))}
          <Route path="*" element={<Lost />} />
        </Route>
      </Routes>
    </BrowserRouter>
  );
}
