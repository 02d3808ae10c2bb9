import { QueryClient } from '@tanstack/react-query';
import { ProblemError } from './problem';

/** What is asked for anew by itself when the page is looked at again, and how often what failed is tried. */
export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      retry: (failures, error) => !(error instanceof ProblemError && error.status < 500) && failures < 2,
    },
  },
});
