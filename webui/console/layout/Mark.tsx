import classes from './Mark.module.css';

/** The gate with a letter in it, and the name. */
export function Mark() {
  return (
    <span className={classes.mark}>
      <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden>
        <rect width="32" height="32" rx="7" fill="#2a4bb8" />
        <path d="M8 25V14a8 8 0 0 1 16 0v11" fill="none" stroke="#fff" strokeWidth="2.6" strokeLinecap="round" />
        <path
          d="M12.5 16.5h7a1 1 0 0 1 1 1v5a1 1 0 0 1-1 1h-7a1 1 0 0 1-1-1v-5a1 1 0 0 1 1-1Zm-.6.8 4.1 3.2 4.1-3.2"
          fill="none"
          stroke="#fff"
          strokeWidth="1.7"
          strokeLinejoin="round"
        />
      </svg>
      <span>Postern</span>
    </span>
  );
}
