// The end of the page, followed while words come.

const NEAR_PX = 160; // whoever moves down and is so near to the end wants to follow it
const ROUNDED_PX = 2; // positions are fractions on some screens

export class Following {
  constructor() {
    this.follows = true;
    this.at = 0; // where the page stood after the last draw
    this.height = Infinity; // and how long it was
  }

  // Draws, and whoever followed the end of the page before sees it afterwards. Only the user moves the
  // page up: who does stays there, however near the end is, until they come down again. What was added
  // elsewhere, the report above all, is read from its beginning.
  keepEnd(draw) {
    const page = document.documentElement;
    const { scrollY } = window;
    const left = page.scrollHeight - window.innerHeight - scrollY;
    if (left <= ROUNDED_PX) this.follows = true;
    else if (page.scrollHeight > this.height + NEAR_PX || scrollY < this.at - ROUNDED_PX) this.follows = false;
    else if (scrollY > this.at + ROUNDED_PX && left <= NEAR_PX) this.follows = true;
    draw();
    if (this.follows) window.scrollTo({ top: page.scrollHeight });
    this.at = window.scrollY;
    this.height = page.scrollHeight;
  }
}
