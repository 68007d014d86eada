"""`pushforward play`: a page in the browser that trains a flow on points of the plane and shows every layer of it."""
