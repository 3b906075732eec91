"""The words both programs use, and the small rules that follow from the words alone.

Pure: nothing here touches an event loop, clock, file, socket or log. Every other room may import this one;
this one imports no other room.
"""
