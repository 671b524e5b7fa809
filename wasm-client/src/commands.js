// Numbers of the commands that a driver takes; driver.rs has the same.

export const DRAIN = 0;
export const RETRY_NOW = 1;
export const ROTATE = 2;
export const CLOSE = 3;
export const OPENED = 4;
export const UPGRADED = 5;
export const LOST = 6; // with the code of the close event, or 0
export const TIMER_FIRED = 7;
export const FIND_EXTENSION = 8;
export const REQUEST_ICE_SERVERS = 9;
