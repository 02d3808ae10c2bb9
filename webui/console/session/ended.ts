// Whether the last session ended by itself, which the sign-in page then says.
let ended = false;

export const noteEnd = () => {
  ended = true;
};

export const forgetEnd = () => {
  ended = false;
};

export const hasEnded = () => ended;
