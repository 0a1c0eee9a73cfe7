# How do I clean up my local artifact cache?
artfs artifact cache cleanup 1GB
